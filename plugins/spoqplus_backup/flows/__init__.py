"""Task groups that the DAGs share: the backup chain and the restore chain."""
