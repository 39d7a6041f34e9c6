"""What the site takes from the code, reference, configuration keys and errors; and whether its links lead somewhere."""
