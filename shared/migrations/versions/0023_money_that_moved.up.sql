-- Which types of events the list under way names, and which types of its span were listed before: Stripe takes 20 types in
-- one list.
-- lint: constant defaults, which rewrite no row.
-- squawk-ignore-file adding-field-with-default, adding-not-nullable-field

ALTER TABLE catch_ups
    ADD COLUMN types_listed text[] NOT NULL DEFAULT '{}',
    ADD COLUMN types_done text[] NOT NULL DEFAULT '{}';
