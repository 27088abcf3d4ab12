"""The processes of one machine: a PostgreSQL, the schema, the four services, and the simulator if asked for.

`citadel up`, the demo and the e2e tests are built on it. In production the same services run as containers.
"""

from console.local.databases import RunningDatabase, embedded, given, scratch
from console.local.process import LocalStackError, Process, ProcessFailed
from console.local.stack import LocalStack, SimulatorPlan, StackPlan

__all__ = [
    "LocalStack",
    "LocalStackError",
    "Process",
    "ProcessFailed",
    "RunningDatabase",
    "SimulatorPlan",
    "StackPlan",
    "embedded",
    "given",
    "scratch",
]
