DROP TABLE recovery_timeline;
DROP TABLE attempts;
DROP TABLE recoveries;
DROP FUNCTION check_recovery_start();
DROP FUNCTION check_recovery_transition();
DROP TABLE recovery_transitions;
DROP TABLE policies;
