"""What is known of a site's backups, for whoever watches them."""
