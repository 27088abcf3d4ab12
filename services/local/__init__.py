"""The processes of one machine: a PostgreSQL, the schema, the four services, and the simulator if asked for.

`citadel up`, the demo and the e2e tests are built on it. In production the same services run as containers.
"""

from services.local.databases import RunningDatabase, embedded, given, scratch
from services.local.process import LocalStackError, Process, ProcessFailed
from services.local.stack import LocalStack, Service, SimulatorPlan, StackPlan

__all__ = [
    "LocalStack",
    "LocalStackError",
    "Process",
    "ProcessFailed",
    "RunningDatabase",
    "Service",
    "SimulatorPlan",
    "StackPlan",
    "embedded",
    "given",
    "scratch",
]
