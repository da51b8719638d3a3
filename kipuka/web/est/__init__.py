"""The EST operations over HTTP: paths, who may call them, and what each takes and answers."""
