"""Trains a small model with DistributedDataParallel on data that it makes itself.

It runs unchanged under gpulaunch and under torchrun, on GPUs (nccl) and without
(gloo). Each rank prints one line: a digest of its parameters after the last step,
the loss before and after, and the CPUs that the kernel lets it run on.
"""
import hashlib
import os

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def points(rank, count=256):
    """Two interleaved spirals; every rank has points of its own."""
    g = torch.Generator().manual_seed(1000 + rank)
    t = torch.rand(count, 1, generator=g) * 3.0 + 0.5
    label = torch.randint(0, 2, (count, 1), generator=g).float()
    angle = 2.0 * t + torch.pi * label
    xy = torch.cat([t * torch.cos(angle), t * torch.sin(angle)], dim=1)
    return xy + 0.05 * torch.randn(count, 2, generator=g), label


def main():
    on_gpu = torch.cuda.is_available()
    dist.init_process_group("nccl" if on_gpu else "gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    local = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", local) if on_gpu else torch.device("cpu")

    torch.manual_seed(rank)  # DDP has to make the ranks equal, not the seed
    model = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 1)).to(device)
    ddp = DistributedDataParallel(model, device_ids=[local] if on_gpu else None)
    optimizer = torch.optim.Adam(ddp.parameters(), lr=0.01)
    criterion = nn.BCEWithLogitsLoss()
    x, y = (v.to(device) for v in points(rank))

    first = last = None
    for _ in range(60):
        optimizer.zero_grad()
        loss = criterion(ddp(x), y)
        loss.backward()
        optimizer.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        last = mean.item() / world
        first = last if first is None else first

    digest = hashlib.sha256()
    for p in ddp.module.parameters():
        digest.update(p.detach().cpu().numpy().tobytes())
    cpus = ",".join(str(c) for c in sorted(os.sched_getaffinity(0)))
    print(f"rank={rank} world={world} params={digest.hexdigest()[:16]} first={first:.4f} last={last:.4f} cpus={cpus}", flush=True)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
