"""`python -m maestro_cli` is `mc`."""

from __future__ import annotations

from maestro_cli.main import main

main()
