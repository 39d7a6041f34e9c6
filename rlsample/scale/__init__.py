"""Collecting in runners: processes and machines besides the one that learns. Ray is an extra, and loaded when named."""
