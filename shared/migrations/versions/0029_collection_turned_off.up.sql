-- Invoices whose automatic collection the merchant turned off before they had a recovery: a payment by debit was still
-- under way, the invoice was a draft, or the failure's event came later. The opening of the recovery reads them.

CREATE TABLE collection_turned_off (
    merchant_id text NOT NULL,
    invoice_id text NOT NULL,
    event_id text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT citadel_now(),
    PRIMARY KEY (merchant_id, invoice_id)
);

-- Both take events in, both open recoveries; the janitor deletes what is old.
GRANT SELECT, INSERT, DELETE ON collection_turned_off TO citadel_ingress;
GRANT SELECT, INSERT, DELETE ON collection_turned_off TO citadel_worker;
