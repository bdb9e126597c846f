"""What holds a process on its machine when it is offline: a guard over every socket, and an event loop that obeys it."""
