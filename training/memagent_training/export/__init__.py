"""From the folder of a run to a model that others load: `memagent-train export`.

Run folders come from other machines and other people, so only JSON and safetensors are read in them, and the shards of
FSDP2 by an unpickler that knows nothing but the classes that an index of shards is made of (`shards`).
"""

from memagent_training.export.model import Exported, export_run
from memagent_training.export.run_folder import RunFolder, SavedWeights, open_run

__all__ = ["Exported", "RunFolder", "SavedWeights", "export_run", "open_run"]
