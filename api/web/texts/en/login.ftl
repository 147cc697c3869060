login-token = API token
login-where = The first { $command } prints a token once and keeps it in its data folder.
login-unknown = This token is unknown or revoked. Check that it was copied whole.
