"""The Backups page itself: what lies in `static/`, for whoever is logged in."""

from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).parent / "static"
ASK_AGAIN = "private, no-cache"  # a browser asks whether its copy is the newest: an update is seen at once


class _Files(StaticFiles):
    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = ASK_AGAIN
        return response


def add_page(app: FastAPI, folder: Path = STATIC) -> None:
    """`/` and `/static/...`."""

    @app.get("/")
    def page() -> Response:
        if not (folder / "index.html").is_file():
            raise HTTPException(404, "The page is not installed: its files are missing beside the plugin.")
        return FileResponse(folder / "index.html", headers={"Cache-Control": ASK_AGAIN})

    app.mount("/static", _Files(directory=folder, check_dir=False))
