"""The services as processes of one machine: PostgreSQL, the schema, the four services, perhaps the simulator.

`citadel up`, the demo and the e2e tests use it. In production the same services run as containers.
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
