"""One page about runs that opens anywhere: curves, diagnostics, differences, results; no network, no script."""
