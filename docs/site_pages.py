"""A hook of MkDocs: the pages of the site, where they lie in the repository.

They keep their paths, so that a link between two of them works in the repository and in the site.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = (
    "*.md",
    "CITATION.cff",
    "docs/*.md",
    "docs/*.ipynb",
    "docs/gallery.json",
    "docs/methods/*.md",
    "docs/images/*.png",
    "benchmark/README.md",
    "benchmark/*/README.md",
    "perf/README.md",
)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page of each method into the navigation."""
    (methods,) = (entry["Methods"] for entry in config.nav or () if "Methods" in entry)
    pages = sorted((ROOT / "docs/methods").glob("*.md"))
    methods += [f"docs/methods/{page.name}" for page in pages if page.name != "README.md"]
    return config


@event_priority(100)  # before the plugin that takes notebooks among the files
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside of the folder that MkDocs looks into."""
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix == ".ipynb":  # its plugin knows no generated files
                directory_urls = config.use_directory_urls
                files.append(File(name, str(ROOT), config.site_dir, directory_urls))
            else:
                files.append(File.generated(config, name, abs_src_path=str(path)))
    return files
