"""From files to clips with labels: reading, transforms, UCF-101, class folders, the toy set, token shards."""
