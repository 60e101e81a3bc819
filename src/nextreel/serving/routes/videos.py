"""Videos that come, are told anew or go while the catalogue is served."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.responses import Response

from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.edge import request_id
from nextreel.serving.problems import Problem
from nextreel.serving.routes import PathId
from nextreel.serving.schemas import OneOrMoreVideos, UploadsOut, VideoIn, WithdrawnOut
from nextreel.serving.security import guarded
from nextreel.types import VideoId
from nextreel.uploads import Upload, WrongUpload

if TYPE_CHECKING:
    from nextreel.system import System


def router(serving: Serving) -> APIRouter:
    """Uploads by POST, withdrawals by DELETE."""
    routes = guarded("admin", "videos")

    @routes.post("/videos", status_code=201, responses={201: {"model": UploadsOut}, 200: {"model": UploadsOut}})
    def upload(given: OneOrMoreVideos) -> Response:
        """Accepted once the video, or all videos of a list, are in the catalogue: the next lists know them.

        A video that is there already gets the new record in the place of its old one. 201 where a video is new, 200
        where none is. Of a list with a video that is wrong nothing is taken.
        """
        system = serving()
        uploads = [_upload(system, one) for one in ([given] if isinstance(given, VideoIn) else given)]
        try:
            new = system.upload(uploads)
        except WrongUpload as error:
            raise Problem(422, str(error)) from error
        told = [{"video_id": one.video_id, "new": is_new} for one, is_new in zip(uploads, new, strict=True)]
        return answers.reply({"videos": told, "request_id": request_id()}, 201 if any(new) else 200)

    @routes.delete("/videos/{video_id:path}", responses={200: {"model": WithdrawnOut}})
    def withdraw(video_id: PathId) -> Response:
        """Takes the video out of every list; what people did with it still counts. POST it again to bring it back."""
        system = serving()
        known = answers.video(system, video_id)
        system.withdraw(known)
        return answers.reply({"status": "withdrawn", "video_id": known, "request_id": request_id()})

    return routes


def _upload(system: System, given: VideoIn) -> Upload:
    told = given.model_dump()
    video_id = answers.videos(system, [given.video_id])[0]
    return Upload(**(told | {"video_id": video_id, "channel_id": _channel(system, given.channel_id)}))


def _channel(system: System, given: int | str | None) -> VideoId | None:
    """The channel's id, of the type that the catalogue's have; text where it has none."""
    whole = isinstance(next(iter(system.catalogue.channel_ids), ""), int)
    if given is None or not whole:
        return None if given is None else str(given)
    return int(given) if str(given).removeprefix("-").isdecimal() else str(given)
