"""What holds a process on its machine when it is offline: a guard over its sockets, and a loop that obeys it."""
