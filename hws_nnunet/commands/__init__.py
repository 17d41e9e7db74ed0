"""The command line: one function a command, typed, which tests call in process."""
