"""The subcommands of `parvideo`, one module each; a function signature is its command line."""
