"""Intents in the router: sets of them as models of the catalogue (`sets`), and what a prompt wants (`signal`)."""
