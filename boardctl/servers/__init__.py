"""Real servers as child processes: Valkey and PostgreSQL from the programs in their wheels, on 127.0.0.1 over TCP.

`running_valkey(folder)` and `running_postgres(folder)` are all that a test needs.
"""

from boardctl.servers.postgres import postgres, running_postgres
from boardctl.servers.valkey import running_valkey, valkey

__all__ = ["postgres", "running_postgres", "running_valkey", "valkey"]
