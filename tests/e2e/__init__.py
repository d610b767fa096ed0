"""The whole process on a real Triton."""

import os

# Processes are started while gRPC's threads run; its handlers of a fork may break a child before it is another program.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
