"""What tests of several kinds share: servers, data that is hard to back up, comparisons."""
