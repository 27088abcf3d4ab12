-- Whose card was told to expire, and when: once per card and its date, for a card that is replaced keeps neither.

CREATE TABLE card_warnings (
    merchant_id text NOT NULL,
    customer_id text NOT NULL,
    payment_method_id text NOT NULL,
    exp_year bigint NOT NULL,
    exp_month bigint NOT NULL,
    warned_at timestamptz NOT NULL DEFAULT citadel_now(),
    PRIMARY KEY (merchant_id, customer_id, payment_method_id, exp_year, exp_month)
);

GRANT SELECT, INSERT ON card_warnings TO citadel_worker;
GRANT SELECT ON card_warnings TO citadel_ledger;
