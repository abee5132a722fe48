"""What holds the course together: exercises, the ledger of numbers, pages, figures, widgets."""
