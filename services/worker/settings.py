"""The worker's settings."""

from datetime import timedelta
from typing import Self

from pydantic import Field, SecretStr, model_validator

from shared.settings import BaseUrl, Port, Settings, StripeSettings, UnsubscribeSettings


class WorkerSettings(Settings, StripeSettings, UnsubscribeSettings):
    """The worker's settings."""

    worker_port: Port = Field(8004, description="port of the worker's health and metrics")
    worker_concurrency: int = Field(32, ge=1, le=1000, description="tasks at a time")
    worker_batch: int = Field(500, ge=1, le=2000, description="most tasks claimed by one statement")
    worker_lease_seconds: float = Field(30.0, ge=1, le=600, description="how long a silent worker keeps its tasks")
    worker_poll_min_seconds: float = Field(0.025, gt=0, le=5, description="wait for work while there was some lately")
    worker_poll_max_seconds: float = Field(0.5, gt=0, le=60, description="wait for work when there is none")
    worker_database_connections: int = Field(8, ge=2, le=10, description="most connections to the database")
    worker_stuck_seconds: float = Field(
        30.0, gt=1, description="/healthz fails when the loop has not turned for so long"
    )

    worker_tasks_of_merchant: int | None = Field(
        None, ge=1, description="most tasks of one merchant that run at a time, in all workers together"
    )
    worker_tasks_in_all: int | None = Field(
        None, ge=1, description="most tasks that run at a time, in all workers together"
    )
    stripe_calls_per_second: float | None = Field(
        None, gt=0, description="most calls for one merchant; by default what Stripe takes: 100 live, 25 in a sandbox"
    )
    stripe_calls_per_second_in_all: float | None = Field(None, gt=0, description="most calls for all merchants")

    catch_up_minutes: int = Field(
        30, ge=1, le=1440, description="how often each merchant's undelivered events are fetched from Stripe"
    )

    resend_api_key: SecretStr | None = Field(
        None, description="Resend's key; without it emails are printed, never sent"
    )
    resend_base: BaseUrl = Field("https://api.resend.com", description="Resend's API, or the simulator")
    resend_timeout_seconds: float = Field(10.0, gt=0, le=60, description="longest wait for one call to Resend")
    resend_calls_per_second: float = Field(
        4.0, gt=0, description="most calls to Resend, from all workers; it takes 5 of a team by default"
    )
    email_from: str = Field(
        "Billing <billing@example.com>", min_length=3, description="sender of all emails: Name <address>"
    )
    unsubscribe_url: BaseUrl | None = Field(
        None, description="where the ingress is reached from outside: unsubscribe links are <this>/unsubscribe/…"
    )

    @model_validator(mode="after")
    def _unsubscribe_links_are_signed(self) -> Self:
        if self.unsubscribe_url is not None and self.unsubscribe_secrets is None:
            raise ValueError("CITADEL_UNSUBSCRIBE_URL needs CITADEL_UNSUBSCRIBE_SECRETS, which sign its links")
        return self

    @property
    def lease(self) -> timedelta:
        """How long a claim holds without a renewal."""
        return timedelta(seconds=self.worker_lease_seconds)

    @property
    def catch_up_every(self) -> timedelta:
        """How often each merchant is caught up."""
        return timedelta(minutes=self.catch_up_minutes)
