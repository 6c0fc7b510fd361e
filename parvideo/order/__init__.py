"""Which tokens are generated at which step: an order is plain data, validated when it is made."""

from parvideo.order.schedule import CLASS_SOURCE, GenerationOrder, Grid
from parvideo.order.spec import OrderSpec, adjacent, raster, regions

__all__ = ["CLASS_SOURCE", "GenerationOrder", "Grid", "OrderSpec", "adjacent", "raster", "regions"]
