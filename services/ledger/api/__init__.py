"""The parts of an HTTP API, whatever its subject. Nothing here knows a subject of the ledger.

endpoint     an endpoint, declared once, and how a request gets to its function
schemas      models that all requests and answers share
fields       types of single fields
select       SQL statements that are put together from constants
pagination   cursors
idempotency  a repeated write takes effect once
tenancy      which merchant a call is about
csv_export   CSV files: one snapshot, however long
openapi      the OpenAPI document, made from the endpoints
"""
