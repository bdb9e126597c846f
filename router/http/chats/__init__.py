"""What chats and completions have in common: what they may ask beyond text, and how their answers are told."""
