-- Customers that are not written to: they opted out, complained, or their mailbox does not exist. A customer is its
-- Stripe id and nothing else; a row stays when its recoveries are long gone.

CREATE TABLE silenced_customers (
    merchant_id text NOT NULL,
    customer_id text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('opted_out', 'complained', 'bounced')),
    silenced_at timestamptz NOT NULL DEFAULT citadel_now(),
    PRIMARY KEY (merchant_id, customer_id, reason)
);

GRANT SELECT, INSERT, DELETE ON silenced_customers TO citadel_ingress;
GRANT SELECT ON silenced_customers TO citadel_worker, citadel_ledger;
