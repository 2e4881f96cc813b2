"""The command line `mc` (also `maestro`): verbs that talk to a server, run the processes, or work offline on files."""
