"""What an HTTP API of ours is made of, whatever it is about. Nothing here knows a subject of the ledger.

endpoint     an endpoint, declared once, and the road from a request to its function
schemas      what parts of all answers and questions look like
fields       single fields at the edge
select       statements that are put together from constants
pagination   cursors
idempotency  a repeated write takes effect once
tenancy      which merchant a call is about
csv_export   files, of one moment, however long
openapi      the document, made from the endpoints
"""
