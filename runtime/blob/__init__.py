"""Where large values lie: one file per implementation of the socket `runtime.abi.blob`."""
