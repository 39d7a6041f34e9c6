"""What a run does when something goes wrong around it; `make reliability` prints the table."""
