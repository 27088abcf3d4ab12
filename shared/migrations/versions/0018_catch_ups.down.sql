REVOKE DELETE ON silenced_customers FROM citadel_worker;
REVOKE INSERT ON recoveries FROM citadel_worker;
REVOKE INSERT ON processed_events FROM citadel_worker;
DROP TABLE catch_ups;
