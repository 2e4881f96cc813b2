"""The shell around the core: owns executions, carries commands out, makes outcomes durable."""
