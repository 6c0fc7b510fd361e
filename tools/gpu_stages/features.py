"""The stage about I3D: its features on the device are those on the CPU."""

import torch

from parvideo.benchmark.cuda import check_device, seconds
from parvideo.metrics import known_clips
from parvideo.metrics.extractors import i3d_weights
from parvideo.metrics.extractors.i3d import I3DExtractor
from parvideo.metrics.extractors.inception_i3d import InceptionI3d
from parvideo.metrics.extractors.resize import resize
from parvideo.metrics.float32 import in_float32
from parvideo.pixels import to_float
from tools.gpu_stages.record import Record


def i3d(record: Record) -> str:
    """Compare logits of the known clips; where the weights lie in the cache, with their known values too."""
    device = check_device(record.device)
    clips = known_clips.known_clips()[: 1 if record.tiny else 4]
    torch.manual_seed(0)
    network = InceptionI3d().eval()
    with torch.no_grad():
        for parameter in network.parameters():  # signals that neither die out nor explode
            if parameter.ndim > 1:
                torch.nn.init.kaiming_normal_(parameter)
        floats = resize(to_float(clips), 224, "bilinear")
        on_cpu = network(floats)
        network = network.to(device)
        moved = floats.to(device)
        with in_float32(device):  # as the extractor computes
            there = network(moved).cpu()
            time = min(seconds(device, lambda: network(moved)) for _ in range(2))
    difference = ((there - on_cpu).abs().max() / on_cpu.abs().max()).item()
    record.note(relative_difference=difference, milliseconds_a_clip=1e3 * time / len(clips))
    record.show(f"random weights: largest difference {difference:.2e} of the largest logit")
    record.check("random weights, relative difference", difference, most=1e-3)
    try:
        path = i3d_weights.find(None)
    except (OSError, ValueError) as error:
        record.show(f"Kinetics-400 weights: {error}")
        return f"random weights agree to {difference:.1e}; Kinetics-400 weights are not here"
    if record.tiny:
        return f"random weights agree to {difference:.1e}"
    extractor = I3DExtractor(path, bn_eps=i3d_weights.BN_EPS).to(device)
    comparison = known_clips.compare(known_clips.measure(extractor), known_clips.expected())
    for line in comparison.table().splitlines():
        record.show(line)
    record.check("the known logits, FVD and KVD", comparison.passed)
    return f"random weights agree to {difference:.1e}; known clips compared with the Kinetics-400 weights"
