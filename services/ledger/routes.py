"""The route table: every endpoint under /v1, put together from the subjects. The OpenAPI document is made from it."""

from typing import Any

from services.ledger.api.endpoint import Endpoint
from services.ledger.calibration import endpoints as calibration
from services.ledger.learning import endpoints as learning
from services.ledger.left_alone import endpoints as left_alone
from services.ledger.merchants import endpoints as merchants
from services.ledger.policies import endpoints as policies
from services.ledger.recoveries import endpoints as recoveries
from services.ledger.reports import endpoints as reports
from services.ledger.silences import endpoints as silences
from services.ledger.stats import endpoints as stats
from services.ledger.tasks import endpoints as tasks
from services.ledger.usage import endpoints as usage

ENDPOINTS: tuple[Endpoint[Any, Any, Any], ...] = (
    *stats.ENDPOINTS,
    *recoveries.ENDPOINTS,
    *reports.ENDPOINTS,
    *calibration.ENDPOINTS,
    *learning.ENDPOINTS,
    *silences.ENDPOINTS,
    *left_alone.ENDPOINTS,
    *tasks.ENDPOINTS,
    *merchants.ENDPOINTS,
    *usage.ENDPOINTS,
    *policies.ENDPOINTS,
)
