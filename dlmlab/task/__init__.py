"""The task: word problems, their tokens, and how an answer is judged."""
