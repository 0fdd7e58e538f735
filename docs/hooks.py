"""What `make docs` needs beyond MkDocs: pages from outside this folder, the API's pages, the notebook as a page.

Pages link to files of the repository as they lie there, so that links work where the repository is looked at. On the
site such a file becomes a page of its own, and links are turned to it.
"""

from __future__ import annotations

import ast
import json
import posixpath
import re
import shutil
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build"
PAGES = {"README.md": "index.md", "SECURITY.md": "security.md", "docs/tour.ipynb": "tour.md"}
"""Files of the repository that are pages of the site under another name."""

FRONTS = {
    "envs": "Puzzles and decision processes",
    "agents": "Reasoner, policy, losses, targets, halting, inference",
    "config": "Configurations",
    "training": "Parts of a run, the TorchRL environment",
    "measuring": "Ledger, evaluation, search, analysis",
    "storage": "Checkpoints and records of a run",
    "train": "A whole run in one call",
}
"""The rooms whose fronts are the public API, and what they hold."""

FOLDERS = {"envs": "envs", "agents": "agents"}
"""Where a room lies, if not in `latent_rl/`."""

LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)]*)?\))")
CODE = re.compile(r"^```.*?^```", flags=re.MULTILINE | re.DOTALL)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".json": "json"}


def public_names(room: str) -> list[str]:
    """What the front of a room exports, in the order of the alphabet."""
    if room == "train":  # a program, of which this one function is for others
        return ["train"]
    tree = ast.parse((ROOT / FOLDERS.get(room, f"latent_rl/{room}") / "__init__.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return sorted(ast.literal_eval(node.value), key=str.lower)
    raise ValueError(f"the front of {room} has no __all__")


def gather_packages() -> Path:
    """A folder with the packages as they are imported, `latent_rl.envs` inside `latent_rl`: a copy of their code."""
    folder = BUILD / "packages"
    shutil.rmtree(folder, ignore_errors=True)
    only_code = shutil.ignore_patterns("__pycache__", "data")
    shutil.copytree(ROOT / "latent_rl", folder / "latent_rl", ignore=only_code)
    for room, place in FOLDERS.items():
        shutil.copytree(ROOT / place, folder / "latent_rl" / room, ignore=only_code)
    return folder


def on_startup(**_: Any) -> None:
    """Before any plugin looks for the packages: what is not there when it starts, it never finds."""
    gather_packages()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in this folder."""
    for source, page in PAGES.items():
        content = notebook(ROOT / source) if source.endswith(".ipynb") else (ROOT / source).read_text()
        files.append(File.generated(config, page, content=turned(content, source, files, config)))
    for path in sorted((ROOT / "docs").glob("*.md")):
        # For the files that it links: pages cannot be added later.
        turned(path.read_text(), f"docs/{path.name}", files, config)
    for room, what in FRONTS.items():
        files.append(File.generated(config, f"reference/{room}.md", content=reference(room, what)))
    return files


def on_page_markdown(markdown: str, page: Any, config: MkDocsConfig, files: Files) -> str:
    """Turn links of a page of this folder; the names in the API's tables lead to their reference."""
    if page.file.src_uri == "api.md":
        room = ""
        lines = []
        for line in markdown.splitlines():
            if heading := re.match(r"## `latent_rl\.(\w+)`", line):
                room = heading[1]
            lines.append(re.sub(r"^\| `(\w+)` \|", rf"| [`\1`](reference/{room}.md#latent_rl.{room}.\1) |", line))
        return "\n".join(lines)
    if page.file.generated_by or not (ROOT / "docs" / page.file.src_uri).exists():
        return markdown
    return turned(markdown, f"docs/{page.file.src_uri}", files, config)


def turned(markdown: str, source: str, files: Files, config: MkDocsConfig) -> str:
    """The text of a file of the repository with its links turned to the pages of the site."""

    def turn(match: re.Match[str]) -> str:
        if "://" in match[2]:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        return f"{match[1]}{place_of(target, source, files, config)}{match[3]}"

    parts, end = [], 0
    for block in CODE.finditer(markdown):
        parts += [LINK.sub(turn, markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, LINK.sub(turn, markdown[end:])])


def place_of(target: str, source: str, files: Files, config: MkDocsConfig) -> str:
    """Where a file or folder of the repository is on the site, as a link from the page of `source`; made if need be."""
    place = PAGES.get(target)
    if place is None:
        place = target.removeprefix("docs/") if target.startswith("docs/") else f"source/{target}.md"
    if place.startswith("source/") and files.get_file_from_path(place) is None:
        path = ROOT / target
        if not path.exists():
            raise FileNotFoundError(f"{source} links {target}")
        files.append(shown(path, place, files, config))
    page = PAGES.get(source) or source.removeprefix("docs/")
    return posixpath.relpath(place, posixpath.dirname(page) or ".")


def shown(path: Path, place: str, files: Files, config: MkDocsConfig) -> File:
    """A file as a page that shows it, or a folder as a page of links to what it holds."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        inside = [one for one in sorted(path.iterdir()) if one.is_dir() or one.suffix in LANGUAGES]
        inside = [one for one in inside if not one.name.startswith(("_", "."))]
        for one in inside:
            one_place = f"{place.removesuffix('.md')}/{one.name}.md"
            if files.get_file_from_path(one_place) is None:
                files.append(shown(one, one_place, files, config))
        here = posixpath.basename(place.removesuffix(".md"))
        content = "\n".join(f"- [{one.name}]({here}/{one.name}.md)" for one in inside)
    else:
        content = f"```{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}```"
    file = File.generated(config, place, content=f"---\nsearch: {{exclude: true}}\n---\n\n# {name}\n\n{content}\n")
    file.inclusion = InclusionLevel.NOT_IN_NAV
    return file


def reference(room: str, what: str) -> str:
    """The page of everything that a front exports, which mkdocstrings fills."""
    blocks = [f"::: latent_rl.{room}.{name}" for name in public_names(room)]
    return "\n\n".join([f"# latent_rl.{room}", f"{what}.", *blocks]) + "\n"


def notebook(path: Path) -> str:
    """A notebook as Markdown: text, code, and what its cells printed and drew."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(text)
            continue
        parts.append(f"```python\n{text}\n```")
        said = []
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f"![what the cell drew](data:image/png;base64,{data['image/png'].strip()})")
            else:
                said.append("".join(output.get("text", data.get("text/plain", ""))).rstrip())
        if said:
            parts.append("\n".join(["```text", *said, "```"]))
    return "\n\n".join(parts) + "\n"


def api_page() -> str:
    """The text of `api.md`: every public name with the first sentence of its docstring."""
    import griffe

    package = griffe.GriffeLoader(search_paths=[gather_packages()]).load("latent_rl", try_relative_path=False)
    parts = [
        "# API",
        "What the fronts of the rooms export is public; everything else may change. Generated from the docstrings by "
        "`python docs/hooks.py`; the site that `make docs` builds has the whole of them, with signatures.",
    ]
    for room, what in FRONTS.items():
        rows = []
        for name in public_names(room):
            found = package[room][name]
            found = found.final_target if found.is_alias else found
            text = found.docstring.value.strip() if found.docstring else ""
            summary = " ".join(text.split("\n\n")[0].split())
            rows.append(f"| `{name}` | {first_sentence(summary)} |")
        parts += [f"## `latent_rl.{room}`", f"{what}.", "\n".join(["| name | |", "| --- | --- |", *rows])]
    return "\n\n".join(parts) + "\n"


def first_sentence(text: str) -> str:
    """The first sentence, with what would end a table's cell escaped."""
    return re.split(r"(?<=[.:;]) (?=[A-Z])", text)[0].replace("|", "\\|")


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(api_page())
