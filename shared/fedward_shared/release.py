"""A release: the adapter a study hands on, in a folder that plain peft loads.

adapter_config.json, adapter_model.safetensors   peft's own files (absent for a head alone)
head.safetensors                                 the head's tensors, where the task has one; its rows
                                                 are `outputs` of the manifest
manifest.json                                    what it is and was made from, with digests
"""

import json
import shutil
import tempfile
from pathlib import Path

from fedward_shared import adapters, canonical, tensors
from fedward_shared.charter import Charter
from fedward_shared.files import write_atomically
from fedward_shared.tasks.base import StudyModel

HEAD_FILE = "head.safetensors"
MANIFEST_FILE = "manifest.json"


def write(model: StudyModel, charter: Charter, epsilon: float | None, folder: Path) -> None:
    """Writes the release into `folder`, replacing an older one as a whole.

    `epsilon` is the largest any site has spent in the study, None where it had no DP.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        adapters.save_peft(model.body, draft)
        if model.head_tensors():
            write_atomically(draft / HEAD_FILE, tensors.encode(model.head_tensors()))
        manifest = {
            "study": charter.study,
            "charter": charter.digest,
            "purpose": charter.purpose,
            "base_model": charter.base_model.digest,
            "task": charter.task.model_dump(mode="json"),
            "outputs": list(model.outputs),
            "adapter": charter.adapter.model_dump(mode="json"),
            "privacy": {
                "mechanism": charter.privacy.mechanism,
                "unit": charter.privacy.unit,
                "epsilon": epsilon,
                "delta": None if epsilon is None else charter.privacy.delta,
            },
            "files": {
                path.name: canonical.digest(path.read_bytes()) for path in sorted(draft.iterdir())
            },
        }
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        write_atomically(draft / MANIFEST_FILE, text.encode())
        draft.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
