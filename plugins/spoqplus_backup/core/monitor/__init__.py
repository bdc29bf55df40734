"""What is known of a site's backups, from the repositories alone: for the page, the metrics and the watchdog."""
