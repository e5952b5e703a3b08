"""ESPnet tasks. Importing this package imports ESPnet (see `espnet_import`)."""

from speechlm.tasks.espnet_import import import_espnet

import_espnet()
