-- The charges whose money was booked as recovered, each once: what a refund or a dispute takes back is found by its charge
-- or its payment intent. One recovery can have several, as an invoice can be paid in parts.
-- lint: the indexes are of a table that is made here.
-- squawk-ignore-file require-concurrent-index-creation

CREATE TABLE recovered_charges (
    merchant_id text NOT NULL,
    charge_id text NOT NULL,
    recovery_id uuid NOT NULL REFERENCES recoveries (id),
    payment_intent_id text,
    amount bigint NOT NULL CHECK (amount > 0),  -- what of the charge was booked, in minor units
    currency text NOT NULL,
    charged_at timestamptz NOT NULL,
    booked_at timestamptz NOT NULL DEFAULT citadel_now(),
    PRIMARY KEY (merchant_id, charge_id)
);
CREATE INDEX recovered_charges_of_recovery ON recovered_charges (recovery_id);
CREATE INDEX recovered_charges_of_intent ON recovered_charges (merchant_id, payment_intent_id);

GRANT SELECT, INSERT ON recovered_charges TO citadel_worker, citadel_ingress;
GRANT SELECT ON recovered_charges TO citadel_ledger;
