"""The worker's metrics for Prometheus. Task types without a handler share the label `unknown`, to keep labels few."""

from prometheus_client import Counter, Gauge, Histogram

CLAIMED = Counter("citadel_tasks_claimed_total", "Tasks claimed", ["task_type"])
COMPLETED = Counter("citadel_tasks_completed_total", "Tasks completed", ["task_type"])
RETRIED = Counter("citadel_tasks_retried_total", "Tasks put back after an error", ["task_type"])
HELD = Counter(
    "citadel_tasks_held_total", "Tasks put back because Stripe does not let us act for their merchant", ["reason"]
)
DEAD = Counter("citadel_tasks_dead_total", "Tasks moved to the dead letters", ["task_type"])
RELEASED = Counter("citadel_tasks_released_total", "Tasks given back unfinished at shutdown", ["task_type"])
LOST_LEASES = Counter("citadel_tasks_lost_leases_total", "Runs that came too late: nothing took effect", ["task_type"])
RESCUED = Counter("citadel_tasks_rescued_total", "Tasks taken from workers that fell silent", ["task_type"])
SECONDS = Histogram(
    "citadel_task_seconds",
    "Time from the claim to the end of a task's run",
    ["task_type"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
RUNNING = Gauge("citadel_tasks_running", "Tasks that this worker is running now")
CIRCUIT_OPEN = Gauge("citadel_circuit_open", "1 while calls to the remote service are not made", ["remote"])
CALLS_DELAYED = Counter("citadel_calls_delayed_total", "Calls that waited for their turn, or were put off", ["remote"])
DATABASE_AWAY = Counter("citadel_worker_database_away_total", "Turns of the loop that found no database")
PRUNED = Counter("citadel_rows_pruned_total", "Rows deleted after their retention", ["table"])
SWEPT = Counter("citadel_sweep_requeued_total", "Work found without a task and queued again", ["task_type"])
DEAD_RECOVERIES = Counter(
    "citadel_recoveries_dead_total", "Open recoveries whose evaluation had died, when they got another one"
)
PERIODIC = Counter("citadel_periodic_runs_total", "Runs of periodic work", ["name"])
ATTEMPTS = Counter("citadel_payment_attempts_total", "Our payment attempts by their outcome", ["result"])
EMAILS = Counter("citadel_emails_total", "Emails by kind and what became of them", ["kind", "outcome"])
UNKNOWN_DECLINES = Counter("citadel_unknown_declines_total", "Declines whose code no table has")
UNKNOWN_REFUSALS = Counter(
    "citadel_unknown_refusals_total", "Requests to pay refused for a code that no table explains"
)
MISSED_EVENTS = Counter(
    "citadel_missed_events_total", "Missed events: fetched, because Stripe could not deliver them", ["type", "outcome"]
)
MISSED_RENEWALS = Counter("citadel_missed_renewals_total", "Recoveries opened for open invoices that no event told of")
