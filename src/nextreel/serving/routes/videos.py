"""Videos that come, are told anew or go while the catalogue is served."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from nextreel.serving import answers
from nextreel.serving.current import Serving
from nextreel.serving.edge import request_id
from nextreel.serving.incoming import OneOrMoreVideos, VideoIn
from nextreel.serving.outgoing import UploadsOut, WithdrawnOut
from nextreel.serving.problems import Problem
from nextreel.serving.routes import NO_VIDEO, PathId
from nextreel.serving.security import guarded
from nextreel.uploads import Upload, WrongUpload


def router(serving: Serving) -> APIRouter:
    """Uploads by POST, withdrawals by DELETE."""
    routes = guarded("admin", "videos")

    @routes.post(
        "/videos",
        status_code=201,
        responses={
            201: {"model": UploadsOut, "description": "a video is new"},
            200: {"model": UploadsOut, "description": "none is new"},
        },
    )
    def upload(given: OneOrMoreVideos) -> Response:
        """Accepted once the video, or all videos of a list, are in the catalogue: the next lists know them.

        A video that is there already gets the new record in the place of its old one. 201 where a video is new, 200
        where none is. Of a list with a video that is wrong nothing is taken.
        """
        system = serving()
        uploads = [Upload(**one.model_dump()) for one in ([given] if isinstance(given, VideoIn) else given)]
        try:
            told = system.upload(uploads)
        except WrongUpload as error:
            raise Problem(422, str(error)) from error
        new = any(is_new for _, is_new in told)
        videos = [{"video_id": video_id, "new": is_new} for video_id, is_new in told]
        return answers.reply({"videos": videos, "request_id": request_id()}, 201 if new else 200)

    @routes.delete("/videos/{video_id:any}", responses={200: {"model": WithdrawnOut}, **NO_VIDEO})
    def withdraw(video_id: PathId) -> Response:
        """Takes the video out of every list; what people did with it still counts. POST it again to bring it back."""
        system = serving()
        known = answers.video(system, video_id)
        system.withdraw(known)
        return answers.reply({"status": "withdrawn", "video_id": known, "request_id": request_id()})

    return routes
