"""What the demonstration corpus talks about, one module per topic."""
