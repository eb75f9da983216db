// Uploads a file with openapi-generator's client for Go: go run . FILE
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"upload/generated"
)

func main() {
	configuration := partita.NewConfiguration()
	configuration.Servers[0].URL = "http://127.0.0.1:8080"
	if server, given := os.LookupEnv("PARTITA_SERVER"); given {
		configuration.Servers[0].URL = server
	}
	ctx := context.WithValue(context.Background(), partita.ContextAccessToken, os.Getenv("PARTITA_TOKEN"))
	id, err := upload(ctx, partita.NewAPIClient(configuration).UploadsAPI, os.Args[1])
	var refusal *partita.GenericOpenAPIError
	if errors.As(err, &refusal) {
		if problem, typed := refusal.Model().(partita.Problem); typed {
			fmt.Fprintln(os.Stderr, problem.Code, problem.Detail, problem.GetMaxSize())
			os.Exit(1)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(id)
}

// upload sends the file, part by part, and returns the upload's id.
func upload(ctx context.Context, uploads *partita.UploadsAPIService, path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	// [upload]
	wanted := partita.CreateUploadRequest{Filename: filepath.Base(path), Size: partita.PtrInt64(info.Size())}
	wanted.PartUrls = &partita.PartUrlsRequest{Count: partita.PtrInt64(1000)}
	created, _, err := uploads.CreateUpload(ctx).CreateUploadRequest(wanted).Execute()
	if err != nil {
		return "", err
	}
	for _, part := range created.PartUrls {
		put, _ := http.NewRequest("PUT", part.Url, io.NewSectionReader(file, part.Offset, part.Size))
		put.ContentLength = part.Size
		for name, value := range part.Headers {
			put.Header.Set(name, value)
		}
		answer, err := http.DefaultClient.Do(put)
		if err != nil {
			return "", err
		}
		answer.Body.Close()
	}
	for state := ""; state != "completed"; {
		completed, _, err := uploads.CompleteUpload(ctx, created.Upload.Id).Execute()
		if err != nil {
			return "", err
		}
		state = completed.State
	}
	// [/upload]
	return created.Upload.Id, nil
}
