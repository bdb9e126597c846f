"""What of a request's inputs may be kept, by whom it may be read, and for how long: by default nothing at all."""
